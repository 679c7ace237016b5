"""What trainer and engine must do alike: the proof holds scores of the one against scores of the other.

Importing the package imports no torch: `processors` is to run before that.
"""
