"""Apache Parquet: metadata as JSON under the schema key `skyloom`, text as UTF-8."""

from __future__ import annotations

from skyloom.release.exporters import Exporter


def write(path, blocks, meta: dict) -> None:
    """A row group a block."""
    import pandas
    import pyarrow.parquet

    from skyloom import store

    writer = None
    try:
        for block in blocks:
            table = store.arrow(pandas.DataFrame(block), meta)
            writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer:
            writer.close()


def read(path):
    """Blocks of a file."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        names, found = file.schema_arrow.names, False
        for batch in file.iter_batches():
            found = True
            yield {name: batch.column(name).to_numpy(zero_copy_only=False) for name in names}
        if not found:
            yield {name: file.schema_arrow.empty_table().column(name).to_numpy() for name in names}


EXPORTER = Exporter("parquet", "parquet", "catalog", write, read)
