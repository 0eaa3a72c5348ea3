"""Part of the configs of HSONet."""
