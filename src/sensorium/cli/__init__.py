"""The commands. They parse, call the library and print; all that they do can be done from Python."""
