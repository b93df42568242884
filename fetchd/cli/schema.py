"""``fetchd schema``: the JSON Schema of the configuration file, for editors."""

import click


@click.command(short_help="Print the JSON Schema of fetchd.yaml, for editors.")
def schema() -> None:
    """Print the JSON Schema of fetchd.yaml, for editors that complete and check YAML.

    Many editors have the YAML language server. For that, write the schema beside the configuration, whose first line
    then names it:

    \b
    fetchd schema >fetchd.schema.json
    # yaml-language-server: $schema=fetchd.schema.json
    """  # noqa: D301 - for click: the lines of this paragraph stay as they are
    from fetchd.config.json_schema import json_schema_text  # noqa: PLC0415 - pydantic is heavy, and --help does without

    click.echo(json_schema_text(), nl=False)
