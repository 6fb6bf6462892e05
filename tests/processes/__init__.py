"""Several server processes over one store: any of them can serve any session."""
