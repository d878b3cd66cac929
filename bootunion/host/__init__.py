"""Everything a person uses: the command line, builders and importers, the store, composing."""
