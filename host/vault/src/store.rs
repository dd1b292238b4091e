//! Where encoded archives lie: a directory, a bucket, a server.
