"""A BaseModel: what is seen of it, what is decided, and the Job that looks at its files."""
