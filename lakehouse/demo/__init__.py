"""What `make demo` needs beside the lake: a sample of every feed, and the answers it shows at the end."""
