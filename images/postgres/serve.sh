#!/bin/sh
# Makes the database where there is none, then serves it to whoever knows PASSWORD.
set -eu
data=/data/cluster
[ -s "$data/PG_VERSION" ] || {
  rm -rf "$data"
  printf '%s' "$PASSWORD" >/tmp/password
  initdb -D "$data" -U envfarm --auth-local=trust --auth-host=scram-sha-256 --pwfile=/tmp/password -E UTF8 --no-locale >/dev/null
  rm /tmp/password
  echo 'host all all all scram-sha-256' >>"$data/pg_hba.conf"
  echo 'CREATE DATABASE envfarm' | postgres --single -D "$data" postgres >/dev/null
}
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
