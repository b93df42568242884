"""The demo's mail holds what its subjects promise, the same in every run."""

import email
import email.policy

from fetchd.demo import sample_messages


def test_every_run_makes_the_same_octets_under_the_same_unique_ids() -> None:
    assert sample_messages() == sample_messages()
    uids = [uid for uid, _ in sample_messages()]
    assert len(set(uids)) == len(uids) >= 6


def test_every_message_is_in_canonical_form_and_has_no_defect() -> None:
    for uid, message in sample_messages():
        assert message.endswith(b"\r\n"), uid
        assert message.count(b"\n") == message.count(b"\r\n") == message.count(b"\r"), uid
        parsed = email.message_from_bytes(message, policy=email.policy.default)
        assert not any(part.defects for part in parsed.walk()), uid
        assert parsed["Subject"], uid


def test_the_hard_cases_are_there() -> None:
    messages = [message for _, message in sample_messages()]
    everything = b"".join(messages)
    assert b"\r\n.\r\n..\r\n" in everything
    assert b"\r\nFrom " in everything
    assert "Zürich".encode() in everything
    assert "Málaga".encode("latin-1") in everything
    assert any(len(line) > 10_000 for line in everything.split(b"\r\n"))
    assert any(email.message_from_bytes(message).is_multipart() for message in messages)
    assert 2_000_000 < max(map(len, messages)) < 3_000_000
