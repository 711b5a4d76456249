"""The vocabulary: resources, kinds, versions, schemas, selectors, patches, errors. Imports nothing of ours."""
