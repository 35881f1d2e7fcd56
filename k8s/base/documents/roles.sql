-- Run once by the image, when the volume is empty. The passwords are in the environment.
\set ON_ERROR_STOP on
\getenv archiver_password ARCHIVER_PASSWORD
\getenv controlplane_password CONTROLPLANE_PASSWORD
\getenv trainer_password TRAINER_PASSWORD
CREATE ROLE archiver LOGIN PASSWORD :'archiver_password';
CREATE ROLE controlplane LOGIN PASSWORD :'controlplane_password';
CREATE ROLE trainer LOGIN PASSWORD :'trainer_password';
CREATE DATABASE feedplane OWNER archiver;
CREATE DATABASE controlplane OWNER controlplane;
REVOKE CONNECT ON DATABASE feedplane FROM PUBLIC;
REVOKE CONNECT ON DATABASE controlplane FROM PUBLIC;
GRANT CONNECT ON DATABASE feedplane TO trainer;
\connect feedplane
-- The archiver makes the schema and the tables. The trainer may read what it makes, and write nothing.
CREATE EXTENSION IF NOT EXISTS timescaledb;
ALTER DEFAULT PRIVILEGES FOR ROLE archiver GRANT USAGE ON SCHEMAS TO trainer;
ALTER DEFAULT PRIVILEGES FOR ROLE archiver GRANT SELECT ON TABLES TO trainer;
