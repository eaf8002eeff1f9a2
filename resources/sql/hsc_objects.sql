-- The object catalog of a part of the sky, to learn from on scenes: primary detections, whatever their quality, with
-- cmodel magnitudes, extendedness and adaptive moments (of the source and of the PSF there, arcsec^2) in i.
SELECT
    object_id, ra, dec, i_extendedness_value,
    g_cmodel_mag, r_cmodel_mag, i_cmodel_mag, z_cmodel_mag, y_cmodel_mag,
    g_cmodel_$magerr, r_cmodel_$magerr, i_cmodel_$magerr, z_cmodel_$magerr, y_cmodel_$magerr,
    i_sdssshape_shape11, i_sdssshape_shape22, i_sdssshape_shape12,
    i_sdssshape_psf_shape11, i_sdssshape_psf_shape22, i_sdssshape_psf_shape12
FROM $schema.forced
LEFT JOIN $schema.forced2 USING (object_id)
WHERE isprimary
    $region
ORDER BY object_id
$limit
