"""Data sets for training an EasyDL model: from a folder of images to one that the service takes."""
