"""Tests on real Consul, nginx and ctemplate processes; a package, so that its modules may share names with tests/."""
