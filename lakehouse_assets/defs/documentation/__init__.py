"""The lake's documentation: a static site of what the models, the sources, the releases and the runs say."""
