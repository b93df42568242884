"""What is known about the larger mail providers: where their POP3 is, what they ask for, what refusals mean. Pure.

The facts, with their sources, are in ``docs/providers.md``.
"""

from collections.abc import Mapping
from typing import Final

from fetchd.model import TlsMode
from fetchd.values import value


@value
class Provider:
    """One mail provider.

    Attributes:
        key: a short name in lower case: ``gmx``.
        name: as it calls itself: ``GMX``.
        hosts: its POP3 servers' names in lower case, the one to use first; none where it has no POP3.
        domains: of addresses that it hosts, in lower case.
        port, tls: of the POP3 server.
        least_interval: seconds that two polls have to lie apart at least; 0 where no such rule is known.
        oauth: the preset of ``fetchd login`` that gives its tokens, as ``google``; "" where none does.
        needs_oauth: whether it takes no password at all.
        password: which password it wants, and where that is had, as one sentence; "" for the usual one.
        enable: how POP3 is switched on there, as one sentence; "" where it is on for everybody.
        refusal: what a refused login mostly means here and what to do, as one sentence; "" where nothing is known.
        no_pop3: that it has no POP3, and what there is instead, as one sentence; "" where it has.
        local_part: whether the user name is what stands before the @ of the address, and not the whole address.
    """

    key: str
    name: str
    hosts: tuple[str, ...]
    domains: tuple[str, ...]
    port: int = 995
    tls: TlsMode = TlsMode.IMPLICIT
    least_interval: int = 0
    oauth: str = ""
    needs_oauth: bool = False
    password: str = ""
    enable: str = ""
    refusal: str = ""
    no_pop3: str = ""
    local_part: bool = False


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _everywhere(name: str, endings: str) -> tuple[str, ...]:
    """Returns a name under each of these top-level domains."""
    return tuple(f"{name}.{ending}" for ending in endings.split())


_YAHOO_PASSWORD: Final = "It wants an app password, made in the account's security settings."  # noqa: S105 - no password
_GMX_ENABLE: Final = (
    "Sign in to the web mailer and allow access by POP3 and IMAP in the e-mail settings; it is off by default, and "
    "switched off again when it was not used for long."
)
_CODE: Final = "It wants an authorisation code, which its web mailer gives when POP3 is switched on there."
_CODE_REFUSAL: Final = (
    "A refused login mostly means that POP3 is off, or that this is not the authorisation code: both are in the web "
    "mailer's settings."
)


def _off(name: str) -> str:
    return (
        f"{name} says the same for a wrong password and for POP3 that is switched off, as it is by default and after "
        "long disuse: allow POP3 and IMAP in the web mailer's e-mail settings."
    )


PROVIDERS: Final[tuple[Provider, ...]] = (
    Provider(
        key="gmail",
        name="Gmail",
        hosts=("pop.gmail.com", "pop.googlemail.com"),
        domains=("gmail.com", "googlemail.com"),
        least_interval=600,
        oauth="google",
        password="It wants an app password, made at myaccount.google.com/apppasswords, or OAuth.",  # noqa: S106 - none
        enable='Switch POP on at "Forwarding and POP/IMAP" in Gmail\'s settings.',
        refusal=(
            "Gmail refuses the account's own password: use an app password (myaccount.google.com/apppasswords) or "
            'OAuth (fetchd login), and see that POP is on ("Forwarding and POP/IMAP" in Gmail\'s settings).'
        ),
    ),
    Provider(
        key="microsoft",
        name="Outlook.com and Microsoft 365",
        hosts=("outlook.office365.com", "outlook.office.com", "pop-mail.outlook.com", "pop3.live.com"),
        domains=(
            *_words("outlook.com hotmail.com live.com msn.com windowslive.com passport.com"),
            *_everywhere("outlook", "at be cl cz de dk es fr hu ie in it jp kr lv my ph pt sa sg sk co.id co.il co.th"),
            *_everywhere("outlook", "com.ar com.au com.br com.gr com.tr com.vn"),
            *_everywhere("hotmail", "be ca cl cz de dk es fi fr gr hu it lt lv my nl no ph rs se sg sk co.id co.il"),
            *_everywhere("hotmail", "co.in co.jp co.kr co.th co.uk co.za com.ar com.au com.br com.hk com.tr com.tw"),
            *_everywhere("live", "at be ca cl cn de dk fi fr hk ie in it jp nl no ru se co.jp co.kr co.uk co.za"),
            *_everywhere("live", "com.ar com.au com.mx com.my com.ph com.pt com.sg"),
        ),
        oauth="microsoft",
        needs_oauth=True,
        password="It takes no passwords any more, only OAuth: fetchd login.",  # noqa: S106 - a sentence
        enable="At Outlook.com, let devices and apps use POP, under Mail > Forwarding and IMAP in its settings.",
        refusal=(
            "Microsoft takes no passwords any more, only OAuth (fetchd login), and POP has to be allowed for the "
            "mailbox (Outlook.com: Mail > Forwarding and IMAP in its settings; Microsoft 365: by the administrator)."
        ),
    ),
    Provider(
        key="yahoo",
        name="Yahoo",
        hosts=("pop.mail.yahoo.com",),
        domains=(
            *_everywhere("yahoo", "com de it fr es se co.in co.uk co.nz com.au com.ar com.br com.mx"),
            *_words("ymail.com myyahoo.com rocketmail.com cox.net"),
        ),
        password=_YAHOO_PASSWORD,
        refusal="Yahoo refuses the account's own password: make an app password in its security settings.",
    ),
    Provider(
        key="aol",
        name="AOL",
        hosts=("pop.aol.com",),
        domains=(
            *_everywhere("aol", "com de it fr es se co.uk co.nz com.au com.ar com.br com.mx"),
            *_words("aim.com netscape.net netscape.com compuserve.com cs.com wmconnect.com verizon.net"),
        ),
        password=_YAHOO_PASSWORD,
        refusal="AOL refuses the account's own password: make an app password in its security settings.",
    ),
    Provider(
        key="att",
        name="AT&T",
        hosts=("inbound.att.net",),
        domains=_words(
            "att.net ameritech.net bellsouth.net currently.com flash.net nvbell.net pacbell.net prodigy.net "
            "sbcglobal.net snet.net swbell.net wans.net"
        ),
        password='It wants a "secure mail key", made in the profile at att.com.',  # noqa: S106 - a sentence
        refusal='AT&T refuses the account\'s own password: make a "secure mail key" in the profile at att.com.',
    ),
    Provider(
        key="gmx",
        name="GMX",
        hosts=("pop.gmx.net",),
        domains=(*_everywhere("gmx", "net de at ch eu biz org info"), "mein.gmx", "mail.gmx", "email.gmx"),
        enable=_GMX_ENABLE,
        refusal=_off("GMX"),
    ),
    Provider(
        key="gmx.com",
        name="GMX",
        hosts=("pop.gmx.com",),
        domains=_everywhere(
            "gmx",
            "com us co.uk es fr ca cn co.in com.br com.my com.tr hk ie it li ph pt ru se sg tm tw",
        ),
        enable=_GMX_ENABLE,
        refusal=_off("GMX"),
    ),
    Provider(
        key="web.de",
        name="WEB.DE",
        hosts=("pop3.web.de",),
        domains=("web.de",),
        least_interval=900,
        enable=_GMX_ENABLE,
        refusal=(
            "WEB.DE refuses a login within 15 minutes of the last one, and where POP3 is switched off, as it is by "
            "default and after long disuse: allow POP3 and IMAP in the web mailer's e-mail settings."
        ),
        local_part=True,
    ),
    Provider(
        key="mail.com",
        name="mail.com",
        hosts=("pop.mail.com",),
        domains=_words(
            "mail.com email.com post.com usa.com consultant.com dr.com engineer.com techie.com europe.com london.com "
            "myself.com iname.com writeme.com"
        ),
    ),
    Provider(
        key="t-online",
        name="T-Online",
        hosts=("securepop.t-online.de",),
        domains=("t-online.de", "magenta.de"),
        password="It wants the password for e-mail programs, set in Telekom's e-mail centre.",  # noqa: S106 - a sentence
        refusal=(
            "T-Online refuses the password of the web site: set the one for e-mail programs in Telekom's e-mail centre."
        ),
    ),
    Provider(
        key="freenet",
        name="freenet",
        hosts=("mx.freenet.de",),
        domains=("freenet.de",),
        enable='Tick "POP3, IMAP und SMTP aktivieren" in the web mailer\'s settings.',
        refusal=(
            "freenet refuses every login while POP3 is switched off, as it is by default: tick "
            '"POP3, IMAP und SMTP aktivieren" in the web mailer\'s settings.'
        ),
    ),
    Provider(
        key="ionos",
        name="IONOS",
        hosts=("pop.ionos.de", "pop.ionos.com", "pop.ionos.co.uk", "pop.1und1.de", "pop.1and1.com"),
        domains=_words(
            "online.de onlinehome.de sofortstart.de sofort-start.de sofortsurf.de sofort-surf.de go4more.de"
        ),
    ),
    Provider("strato", "STRATO", ("pop3.strato.de",), ()),
    Provider(
        key="posteo",
        name="Posteo",
        hosts=("posteo.de",),
        domains=(
            *_everywhere("posteo", "de at be ca ch cl co com cr cz dk ee es eu fi gl gr hn hr hu ie in is it jp la li"),
            *_everywhere("posteo", "lt lu me mx my net nl no nz org pe pl pm pt ro se sg si tn uk us co.uk com.br"),
        ),
    ),
    Provider(
        key="mailbox.org",
        name="mailbox.org",
        hosts=("pop3.mailbox.org",),
        domains=("mailbox.org",),
        password="With two-factor login it wants an application password, made in the settings.",  # noqa: S106 - none
        refusal="With two-factor login, mailbox.org wants an application password: make one in its settings.",
    ),
    Provider(
        key="fastmail",
        name="Fastmail",
        hosts=("pop.fastmail.com", "pop.messagingengine.com"),
        domains=("fastmail.com", "fastmail.fm"),
        password='It wants an app password, made under "Privacy & Security" in its settings.',  # noqa: S106 - a sentence
        refusal=(
            "Fastmail refuses the account's own password: make an app password that may use POP under "
            '"Privacy & Security" in its settings.'
        ),
    ),
    Provider(
        key="zoho",
        name="Zoho Mail",
        hosts=_words("pop.zoho.com poppro.zoho.com pop.zoho.eu poppro.zoho.eu pop.zoho.in poppro.zoho.in"),
        domains=("zoho.com", "zohomail.com"),
        password="With two-factor login it wants an application-specific password.",  # noqa: S106 - a sentence
        enable="Switch POP access on under Mail Accounts in its settings.",
        refusal=(
            "Zoho refuses a login while POP access is off (Mail Accounts in its settings), at the server of another "
            "region (zoho.com, zoho.eu, zoho.in), and with two-factor login all but an application-specific password."
        ),
    ),
    Provider(
        key="yandex",
        name="Yandex",
        hosts=("pop.yandex.com", "pop.yandex.ru"),
        domains=(*_everywhere("yandex", "ru com net by kz ua"), "ya.ru", "narod.ru"),
        password="It wants an app password, made in Yandex ID.",  # noqa: S106 - a sentence
        enable='Allow POP3 under "Email clients" in the mailbox\'s settings.',
        refusal=(
            'Yandex refuses a login while POP3 is off ("Email clients" in the mailbox\'s settings), and by any but an '
            "app password made in Yandex ID."
        ),
    ),
    Provider(
        key="mail.ru",
        name="Mail.ru",
        hosts=("pop.mail.ru",),
        domains=_words("mail.ru inbox.ru list.ru bk.ru internet.ru"),
        password="It wants a password for external applications, made in the account's security settings.",  # noqa: S106
        refusal=(
            "Mail.ru refuses the account's own password: make one for external applications in its security settings."
        ),
    ),
    Provider("orange", "Orange", ("pop.orange.fr",), ("orange.fr", "wanadoo.fr")),
    Provider("sfr", "SFR", ("pop.sfr.fr",), ("sfr.fr", "neuf.fr", "club-internet.fr")),
    Provider("free", "Free", ("pop.free.fr",), ("free.fr",), local_part=True),
    Provider("laposte", "La Poste", ("pop.laposte.net",), ("laposte.net",)),
    Provider("ovh", "OVHcloud", ("ssl0.ovh.net",), (), least_interval=60),
    Provider("libero", "Libero", ("popmail.libero.it",), _words("libero.it iol.it inwind.it blu.it giallo.it")),
    Provider("virgilio", "Virgilio", ("in.virgilio.it",), ("virgilio.it",)),
    Provider(
        key="comcast",
        name="Comcast Xfinity",
        hosts=("mail.comcast.net",),
        domains=("comcast.net",),
        enable="Allow third-party access in the e-mail settings of Xfinity.",
        refusal=(
            "Xfinity refuses every login until third-party access is allowed in its e-mail settings; mailboxes that "
            "were moved to Yahoo Mail are no more at this server."
        ),
    ),
    Provider("bt", "BT", ("mail.btinternet.com",), ("btinternet.com", "btopenworld.com", "talk21.com")),
    Provider("bluewin", "Bluewin", ("pop3s.bluewin.ch",), ("bluewin.ch", "bluemail.ch")),
    Provider("seznam", "Seznam", ("pop3.seznam.cz",), ("seznam.cz", "email.cz", "post.cz")),
    Provider(
        key="naver",
        name="Naver",
        hosts=("pop.naver.com",),
        domains=("naver.com",),
        enable="Switch POP3 on in the mailbox's settings.",
        refusal=(
            "Naver refuses a login while POP3 is off (in the mailbox's settings), and with two-step login by any but "
            "an application password."
        ),
    ),
    Provider("qq", "QQ Mail", ("pop.qq.com",), ("qq.com", "foxmail.com"), password=_CODE, refusal=_CODE_REFUSAL),
    Provider("163", "NetEase 163", ("pop.163.com",), ("163.com",), password=_CODE, refusal=_CODE_REFUSAL),
    Provider("126", "NetEase 126", ("pop.126.com",), ("126.com",), password=_CODE, refusal=_CODE_REFUSAL),
    Provider(
        key="icloud",
        name="iCloud Mail",
        hosts=(),
        domains=("icloud.com", "me.com", "mac.com"),
        no_pop3="iCloud Mail has no POP3, only IMAP, which fetchd does not speak; forward its mail to another mailbox.",
    ),
    Provider(
        key="proton",
        name="Proton Mail",
        hosts=(),
        domains=("proton.me", "protonmail.com", "protonmail.ch", "pm.me"),
        no_pop3=(
            "Proton Mail has no POP3, and its Bridge only IMAP, which fetchd does not speak; forward its mail to "
            "another mailbox."
        ),
    ),
    Provider(
        key="tuta",
        name="Tuta",
        hosts=(),
        domains=_words("tuta.com tuta.io tutanota.com tutanota.de tutamail.com keemail.me"),
        no_pop3="Tuta has neither POP3 nor IMAP: its mail is read with its own programs only.",
    ),
)

_BY_DOMAIN: Final[Mapping[str, Provider]] = {domain: one for one in PROVIDERS for domain in one.domains}
_BY_HOST: Final[Mapping[str, Provider]] = {host: one for one in PROVIDERS for host in one.hosts}


def of_domain(domain: str) -> Provider | None:
    """Returns the provider that hosts addresses of this domain, or None where none is known to."""
    return _BY_DOMAIN.get(domain.rstrip(".").lower())


def of_host(host: str) -> Provider | None:
    """Returns the provider whose POP3 server has this name, or None."""
    return _BY_HOST.get(host.rstrip(".").lower())
