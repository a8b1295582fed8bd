"""consul-template's Go templates as Jinja templates of ours. Pure: text goes in, text and findings come out."""
