"""Objects, the log of their changes, and the revision that orders them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "objects",
        sa.Column("resource", NAME, nullable=False),
        sa.Column("namespace", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("revision", NUMBER, nullable=False),
        sa.Column("api_version", sa.Text(), nullable=False),
        sa.Column("desired", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "namespace", "name", name="objects_pkey"),
    )
    revisions = op.create_table(
        "revision",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("value", NUMBER, nullable=False),
        sa.Column("horizon", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id", name="revision_pkey"),
    )
    op.bulk_insert(revisions, [{"id": 1, "value": 0, "horizon": 0}])
    op.create_table(
        "log",
        sa.Column("revision", NUMBER, autoincrement=False, nullable=False),
        sa.Column("resource", NAME, nullable=False),
        sa.Column("namespace", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("op", sa.SmallInteger(), nullable=False),
        sa.Column("time", sa.Float(), nullable=False),
        sa.Column("uid", sa.Text()),
        sa.Column("previous", NUMBER),
        sa.Column("api_version", sa.Text()),
        sa.Column("desired", sa.LargeBinary()),
        sa.Column("status", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("revision", name="log_pkey"),
    )
    op.create_index("log_resource", "log", ["resource", "revision"])
    for body in ("desired", "status"):
        touched = sa.text(f"{body} IS NOT NULL")
        key = ["resource", "namespace", "name", "revision"]
        op.create_index(f"log_{body}", "log", key, sqlite_where=touched, postgresql_where=touched)


def downgrade() -> None:
    op.drop_table("log")
    op.drop_table("revision")
    op.drop_table("objects")
