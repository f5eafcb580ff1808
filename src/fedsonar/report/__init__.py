"""What a run, a sweep or an audit looked like: HTML pages that stand alone, and tables for the terminal."""
