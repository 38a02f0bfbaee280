"""A model behind HTTP: OpenAI's chat API and a page to talk to it. FastAPI stays in this room."""
