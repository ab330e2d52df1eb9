"""Log lines, for both programs: safe to read, and limited where a client can cause them."""
