"""The report: a folder with a page that shows the results, and the comparison of two results."""
