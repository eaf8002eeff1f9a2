"""HTTP servers of the embedded sky, one module a service, written from the archives' protocols alone."""
