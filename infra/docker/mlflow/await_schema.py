"""Wait until the migration has made MLflow's tables: a server that makes them at the same time collides with it.

A server newer than the tables ends by itself, and is started again until the migration is through.
"""

import contextlib
import time

import psycopg2

SECONDS = 2


def is_migrated() -> bool:
    """Whether both migrations, of the tracking tables and of the users, have been through once."""
    try:
        with contextlib.closing(psycopg2.connect("")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass('alembic_version'), to_regclass('alembic_version_auth')")
            return None not in cursor.fetchone()
    except psycopg2.OperationalError as error:
        print(error)
        return False


while not is_migrated():
    print("Waiting for the migration (job mlflow-migrate).")
    time.sleep(SECONDS)
