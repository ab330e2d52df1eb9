"""HTTP/1.1 as bytes: requests and responses are read strictly and written anew."""
