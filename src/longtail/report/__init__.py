"""What people read: tables, pictures and the page. Values in, text or bytes out."""
