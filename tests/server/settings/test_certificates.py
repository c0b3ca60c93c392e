"""What the environment says of certificates is named where nobody could be trusted by it."""

import os

import pytest

from wan_mcp.settings.network_variables import (
    CertificateVariables,
    find_certificate_problem,
    read_certificate_variables,
)

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def problem_of(**environ):
    problem = find_certificate_problem(read_certificate_variables(environ))
    return None if problem is None else str(problem)


@pytest.mark.parametrize("text", ["", "  ", '""', "${SSL_CERT_FILE}", "{env:CERTS}", "undefined"])
def test_what_nobody_filled_in_counts_as_not_set(text):
    assert read_certificate_variables({"SSL_CERT_FILE": text, "SSL_CERT_DIR": text}) == CertificateVariables(
        None, None
    )


@pytest.mark.parametrize("around", ["{}", " {}", "{}\n", '"{}"', "'{}'\r\n"])
def test_blanks_quotes_and_line_ends_around_a_path_do_not_count(tmp_path, around):
    path = tmp_path / "ca.pem"
    path.write_text(PEM, encoding="utf-8")
    assert read_certificate_variables({"SSL_CERT_FILE": around.format(path)}).file == str(path)
    assert problem_of(SSL_CERT_FILE=around.format(path)) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "which does not exist"),
        (b"", "which is empty"),
        (b"\n \n", "which is empty"),
        (b"no certificate", "which holds no certificates"),
    ],
)
def test_a_file_that_nobody_could_be_trusted_by_is_named(tmp_path, content, reason):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    assert problem_of(SSL_CERT_FILE=str(path)) == f"SSL_CERT_FILE names {path}, {reason}. Correct or remove it."


@pytest.mark.skipif(os.name != "posix", reason="these kinds of files are POSIX's")
def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "it is a pipe, not a file" in problem_of(SSL_CERT_FILE=str(tmp_path / "pipe"))
    assert "it is a folder" in problem_of(SSL_CERT_FILE=str(tmp_path))


def test_a_folder_that_nobody_could_be_trusted_by_is_named(tmp_path):
    none, folder = tmp_path / "none", tmp_path / "certs"
    assert (
        problem_of(SSL_CERT_DIR=str(none))
        == f"SSL_CERT_DIR names {none}, which does not exist. Correct or remove it."
    )
    folder.mkdir()
    assert "which is empty" in problem_of(SSL_CERT_DIR=str(folder))
    (folder / "corporate.pem").write_text(PEM, encoding="utf-8")
    assert "under the name that OpenSSL looks for" in problem_of(SSL_CERT_DIR=str(folder))
    (folder / "0a1b2c3d.0").write_text(PEM, encoding="utf-8")
    assert problem_of(SSL_CERT_DIR=str(folder)) is None
    assert problem_of(SSL_CERT_DIR=os.pathsep.join((str(none), str(folder)))) is None


def test_a_folder_beside_a_file_may_be_empty(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text(PEM, encoding="utf-8")
    assert problem_of(SSL_CERT_FILE=str(path), SSL_CERT_DIR=str(tmp_path / "none")) is None
