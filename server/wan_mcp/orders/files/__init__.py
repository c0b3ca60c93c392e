"""The files of orders, for those who ordered: saved images, links to them, and pictures that people upload."""
