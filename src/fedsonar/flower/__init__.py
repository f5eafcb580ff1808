"""The same federation by Flower: clients in processes and on machines of their own, our loop at the server."""
