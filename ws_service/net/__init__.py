"""Below HTTP, for both programs: TCP keep-alive, slow and vanished clients, safe folders."""
