"""Reports of a weather station: measurements in, a page, a picture and a signed summary out."""
