"""What runs over days: daemon, group workers, pipelines, and the parts they share."""
