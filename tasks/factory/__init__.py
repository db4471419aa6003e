"""Makes SWE tasks from what is public: two releases of a package, or a commit of a repository."""
