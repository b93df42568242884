"""Configurations of other fetchers, as people have them; every password in them holds ``hunter``."""

from typing import Final

FETCHMAILRC: Final = {
    "documented": r"""
set daemon 300
set postmaster "admin"
set no bouncemail
defaults proto pop3 uidl
poll pop.example.net via 10.0.0.5 port 995 timeout 60 interval 2
  user "joe@example.net" there with password "hunter2" is joe here
       options ssl sslproto tls1.2+ sslcertck keep fetchlimit 50 limit 20000000 mda "/usr/lib/dovecot/dovecot-lda -d %T"
  user "ann" pass "hunter" to ann here ssl nokeep smtphost "localhost/2525"
poll catchall.example.net proto pop3 envelope "Delivered-To" localdomains example.net
  user "all" pass "hunter" to ann=ann@local * here ssl sslfingerprint "AA:BB" no sslcertck
skip old.example.net proto pop3 user joe pass hunter
""",
    "without a user": "poll pop.example.net proto pop3 pass hunter\n",
    "the defaults' user": """
defaults user joe pass hunter keep
poll a.example proto pop3
poll b.example user bob pass hunter3
""",
    "odd words": r"""
server h.example proto pop3 user numeric pass hunter12 to 12 here, keep
  user "b\"x" pass 'hunter\101\x41\0101\\"$' is x here;  # a comment
  user nokeep pass hunter#3 fetchall flush
poll 127.0.0.1: service 110 protocol: POP3 auth cram-md5, tracepolls
  user 'j c' there is root here and has password "hunter 4"; wants batchlimit 4 warnings 9 nofetchall
""",
    "plain lines": """
poll pop.example.org proto pop3 port 110 user joe pass hunter keep
poll pop.example.com proto pop3 user joe pass hunter sslproto ''
poll pop.example.info proto pop3 user joe pass hunter sslproto TLS1+
poll localhost proto pop3 user joe pass hunter
poll pop.example.edu proto apop port 110 user joe pass hunter ssl
""",
    "certificates": """
poll pop.example.org proto pop3 user joe pass hunter ssl keep
  sslcertfile ca.pem sslcert /etc/me.pem sslkey /etc/me.key sslcommonname mail.example.org sslcertpath /etc/ssl
""",
    "much without counterpart": """
set syslog set invisible
poll pop.example.org proto pop3 auth gssapi interface "eth0/10.0.0.0" plugin "openssl %h hunter" no dns
  user joe pass hunter preconnect "ssh hunter" postconnect date expunge 5 fastuidl 0 fetchsizelimit 10 limitflush
  forcecr pass8bits dropstatus dropdelivered mimedecode idle
  antispam 571 550 smtpaddress a smtpname b lmtp smtphost x/24
  fetchdomains c folder d properties e bsmtp f
""",
    "imap": "poll imap.example.org proto imap user joe pass hunter ssl\n",
    "a port by name": "poll pop.example.org service pop3s proto pop3 user joe pass hunter ssl keep\n",
}

GETMAILRC: Final = {
    "documented": """
[retriever]
type = SimplePOP3SSLRetriever
server = pop.example.net
username = joe@example.net
password_command = ("/usr/bin/pass", "mail/joe")
ca_certs = /etc/ssl/certs/ca-certificates.crt
[destination]
type = Maildir
path = ~/Maildir/
[options]
read_all = false
delete = true
delete_after = 14
message_log = ~/.getmail/log
""",
    "plain": """
[retriever]
type: SimplePOP3Retriever
server: pop.example.org
username: joe
password: hunter%2
port: 1100
use_apop: yes
timeout: 60
[destination]
type = Mboxrd
path = /var/mail/joe
locktype = flock
[options]
max_message_size = 1000000
max_messages_per_session = 10
max_bytes_per_session = 5
delete = on
[filter-1]
type = Filter_external
path = /usr/bin/spamc
""",
    "a token": """
[retriever]
type = SimplePOP3SSLRetriever
server = outlook.office365.com
username = joe@example.org
use_xoauth2 = true
password_command = ("/usr/local/bin/token", "it's")
ssl_fingerprints = ("AA:BB", "CC:DD")
[destination]
type = MDA_external
path = /usr/bin/procmail
""",
    "multidrop": """
[retriever]
type = MultidropPOP3SSLRetriever
server = pop.example.org
username = all
envelope_recipient = delivered-to:1
password = hunter
[destination]
type = MultiSorter
default = [postmaster]
[postmaster]
type = Maildir
path = /x/
[options]
delete_after = 0
""",
    "imap": """
[retriever]
type = SimpleIMAPSSLRetriever
server = imap.example.org
username = joe
password = hunter
[destination]
type = Maildir
path = ~joe/Maildir/
""",
}

MPOPRC: Final = {
    "documented": """
# my accounts
defaults
tls on
tls_starttls off
keep on

account work
host pop.example.org
user joe@example.org
password "hunter 2"
delivery maildir ~/Maildir/
skipsize 500k

account home : work
host pop.example.net
user joe
passwordeval gpg --quiet --decrypt ~/.secret.gpg
keep off
delivery mbox "/var/mail/joe"
source_ip 192.0.2.1
proxy_host 127.0.0.1
proxy_port 9050

account default : work
""",
    "much without counterpart": """
account a b
host pop.example.org
port 110
user joe
auth digest-md5
passwordeval pass show mail/joe
tls on
tls_certcheck off
tls_trust_file system
tls_fingerprint AA:BB
tls_priorities NORMAL
delivery mda /usr/bin/procmail -f '%F' -d $USER
killsize 2m
filter /usr/bin/filter
only_new off
pipelining off
timeout off
keep 30d
""",
    "certificates": """
account c
host pop.example.org
user joe
auth external
tls on
tls_starttls off
tls_trust_file ca.pem
tls_cert_file /etc/me.pem
tls_key_file /etc/me.key
tls_host_override mail.example.org
tls_fingerprint 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF
delivery exchange /pickup
keep a while
""",
    "plain": """
account x
host pop.example.org
user joe
password hunter
auth scram-sha-1
timeout 30
delivery maildir /m
eval echo tls on
""",
}
SAMPLES: Final = [
    *(("fetchmail", name, text) for name, text in FETCHMAILRC.items()),
    *(("getmail", name, text) for name, text in GETMAILRC.items()),
    *(("mpop", name, text) for name, text in MPOPRC.items()),
]
