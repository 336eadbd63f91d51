#!/bin/sh
# A database and a user of the same name for each service; no service reaches another's. Runs once, in an empty data folder.
set -eu
for name in kernel_process kernel_resource kernel_scheduler kernel_rules kernel_gateway; do
    psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=name="$name" --set=password="$KERNEL_DATABASE_PASSWORD" \
        --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE CONNECT, TEMPORARY ON DATABASE :"name" FROM PUBLIC;
SQL
done
