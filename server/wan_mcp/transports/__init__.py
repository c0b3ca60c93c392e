"""How clients reach the server: stdio, and Streamable HTTP on the loopback interface."""
