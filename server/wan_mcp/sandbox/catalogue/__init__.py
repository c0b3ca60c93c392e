"""The models of the look-alike, read from the documentation a second time; the tools' catalogue is not asked."""
