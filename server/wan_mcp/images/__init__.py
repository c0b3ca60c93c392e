"""The bytes of an image: of which kind, whether whole; smaller, converted, fit to be sent. No file is known here."""
