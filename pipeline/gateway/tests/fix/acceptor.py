"""A small venue behind a real FIX 4.4 engine, QuickFIX: the counterparty of the FIX line's tests.

    python acceptor.py FOLDER PORT [SETTING=VALUE ...]

FOLDER keeps the engine's numbers and messages, so that it can be started again. The orders are kept in memory only.
What becomes of an order is told by its symbol:

    REST    accepted, stays open             FILL    accepted, filled at its limit (1.00 at market)
    PART    accepted, half of it filled      REFUSE  rejected
    MUTE    taken, and nothing said about it KEEP    as REST; cancels and replacements are rejected

An immediate-or-cancel order trades half, and the rest is cancelled. One line of JSON a message on standard output:
{"got": {tag: value}} for what came, {"event": name} for the session. A line on standard input is a command:

    fill ID QUANTITY PRICE      a trade of an open order
    cancel ID | expire ID | done ID | restate ID LEAVES
    bust EXECUTION | correct EXECUTION QUANTITY PRICE
    say ID EXECTYPE             a report that only says that something is on its way
    refuse TYPE SEQUENCE ID     a BusinessMessageReject
    raw TYPE TAG=VALUE ...      any message
    sends N | expects N         sets the engine's next number out, or the one that it waits for
    logout | logon              ends the session, and allows it again
    state                       answers {"state": {"orders": {...}, "positions": {...}, "trades": n, "twice": [...]}}
"""

import json
import sys
import threading

import quickfix as fix


OUTPUT = threading.Lock()


def say(**line):
    with OUTPUT:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


class Order:
    def __init__(self, message):
        self.id, self.symbol, self.side = (message[tag] for tag in (11, 55, 54))
        self.quantity = int(message[38])
        self.price = message.get(44)
        self.filled = 0
        self.over = None

    @property
    def leaves(self):
        return 0 if self.over else self.quantity - self.filled

    @property
    def status(self):
        if self.over:
            return self.over
        return "2" if self.leaves == 0 else "1" if self.filled else "0"


class Venue(fix.Application):
    def __init__(self):
        super().__init__()
        self.lock = threading.RLock()
        self.session = None
        self.orders = {}
        self.names = {}
        self.trades = {}
        self.positions = {}
        self.ids = set()
        self.twice = []
        self.count = 0

    # The engine's side.

    def onCreate(self, session):
        self.session = session

    def onLogon(self, session):
        say(event="logon")

    def onLogout(self, session):
        say(event="logout")

    def toAdmin(self, message, session):
        pass

    def toApp(self, message, session):
        pass

    def fromAdmin(self, message, session):
        say(got=fields(message))

    def fromApp(self, message, session):
        with self.lock:
            got = fields(message)
            say(got=got)
            orders = {"D": self.new, "F": self.cancel, "G": self.replace, "H": self.stands}
            if got[35] in orders:
                orders[got[35]](got)

    def send(self, kind, body):
        message = fix.Message()
        message.getHeader().setField(fix.StringField(35, kind))
        for tag, value in body.items():
            message.setField(fix.StringField(tag, str(value)))
        fix.Session.sendToTarget(message, self.session)

    def report(self, order, kind, **more):
        self.count += 1
        body = {37: "V" + order.id, 11: order.id, 17: f"E{self.count}", 150: kind, 39: order.status}
        body |= {55: order.symbol, 54: order.side, 38: order.quantity, 14: order.filled, 151: order.leaves}
        body |= {6: "0", 60: fix.TransactTime().getString()} | {int(tag[1:]): value for tag, value in more.items()}
        self.send("8", body)
        return f"E{self.count}"

    # What the orders do.

    def known(self, name):
        return self.orders.get(self.names.get(name, name))

    def is_new(self, got):
        if got[11] in self.ids:
            self.twice.append(got[11])
            return False
        self.ids.add(got[11])
        return True

    def new(self, got):
        order = Order(got)
        if not self.is_new(got):
            self.report(order, "8", t39="8", t103="6", t151=0)
            return
        if order.symbol == "REFUSE":
            order.over = "8"
            self.report(order, "8", t103="3", t58="too much")
            return
        self.orders[order.id] = order
        if order.symbol == "MUTE":
            return
        self.report(order, "A", t39="A")
        self.report(order, "0")
        price = order.price or "1.00"
        if got.get(59) == "3":
            self.fill(order, (order.quantity + 1) // 2, price)
            order.over = order.over or "4"
            self.report(order, "4")
        elif order.symbol == "FILL":
            self.fill(order, order.quantity, price)
        elif order.symbol == "PART":
            self.fill(order, order.quantity // 2, price)

    def fill(self, order, quantity, price):
        order.filled += quantity
        signed = quantity if order.side == "1" else -quantity
        self.positions[order.symbol] = self.positions.get(order.symbol, 0) + signed
        execution = self.report(order, "F", t32=quantity, t31=price)
        self.trades[execution] = (order, quantity, price)

    def void(self, execution):
        order, quantity, _ = self.trades.pop(execution)
        signed = quantity if order.side == "1" else -quantity
        self.positions[order.symbol] -= signed
        order.filled -= quantity
        order.over = order.over or "4"
        return order

    def refuse(self, got, reason, response):
        order = self.known(got[41])
        body = {37: "V" + order.id if order else "NONE", 11: got[11], 41: got[41], 102: reason, 434: response}
        body |= {60: fix.TransactTime().getString()}
        self.send("9", body | {39: order.status if order else "8"})

    def cancel(self, got):
        if not self.is_new(got):
            return
        order = self.known(got[41])
        if order is None or order.leaves == 0:
            self.refuse(got, 1 if order is None else 0, 1)
        elif order.symbol == "KEEP":
            self.refuse(got, 2, 1)
        else:
            self.report(order, "6", t39="6", t11=got[11], t41=order.id)
            order.over = "4"
            self.report(order, "4", t11=got[11], t41=order.id)

    def replace(self, got):
        if not self.is_new(got):
            return
        order = self.known(got[41])
        if order is None or order.leaves == 0 or order.symbol == "KEEP":
            self.refuse(got, 1 if order is None else 2, 2)
            return
        self.report(order, "E", t39="E", t11=got[11], t41=order.id)
        original, order.id = order.id, got[11]
        self.orders[order.id] = self.orders.pop(original)
        self.names = {name: order.id if now == original else now for name, now in self.names.items()}
        self.names[original] = order.id
        order.quantity = max(int(got[38]), order.filled)
        order.price = got[44]
        self.report(order, "5", t41=original, t44=order.price)

    def stands(self, got):
        order = self.known(got[11])
        if order is None:
            order = Order(got | {38: 0})
            order.over = "8"
            self.report(order, "I", t37="NONE", t103="5", t58="unknown order")
        elif order.id != got[11]:
            # Asked by the id of an order that was replaced: over under this name.
            self.report(order, "I", t11=got[11], t39="5", t151=0)
        else:
            self.report(order, "I")

    # What the test says.

    def command(self, words):
        with self.lock:
            name, arguments = words[0], words[1:]
            order = self.known(arguments[0]) if arguments else None
            engine = fix.Session.lookupSession(self.session)
            if name == "fill":
                self.fill(order, int(arguments[1]), arguments[2])
            elif name in ("cancel", "expire", "done"):
                order.over, kind = {"cancel": ("4", "4"), "expire": ("C", "C"), "done": ("3", "3")}[name]
                self.report(order, kind)
            elif name == "restate":
                order.quantity = order.filled + int(arguments[1])
                self.report(order, "D", t378="5")
            elif name == "bust":
                self.report(self.void(arguments[0]), "H", t19=arguments[0])
            elif name == "correct":
                _, quantity, price = arguments
                order = self.void(arguments[0])
                order.filled += int(quantity)
                signed = int(quantity) if order.side == "1" else -int(quantity)
                self.positions[order.symbol] += signed
                self.report(order, "G", t19=arguments[0], t32=quantity, t31=price)
            elif name == "say":
                self.report(order, arguments[1])
            elif name == "refuse":
                kind, sequence, id = arguments
                self.send("j", {45: sequence, 372: kind, 379: id, 380: 0, 58: "not today"})
            elif name == "raw":
                self.send(arguments[0], dict((int(tag), value) for tag, value in (a.split("=") for a in arguments[1:])))
            elif name == "sends":
                engine.setNextSenderMsgSeqNum(int(arguments[0]))
            elif name == "expects":
                engine.setNextTargetMsgSeqNum(int(arguments[0]))
            elif name == "logout":
                engine.logout("the test says so")
            elif name == "logon":
                engine.logon()
            elif name == "state":
                orders = {o.id: [o.status, o.filled, o.leaves] for o in self.orders.values()}
                count = len(self.trades)
                say(state={"orders": orders, "positions": self.positions, "trades": count, "twice": self.twice})
            else:
                say(event="unknown command", words=words)


def fields(message):
    pairs = (field.split("=", 1) for field in message.toString().split("\x01") if field)
    return {int(tag): value for tag, value in pairs}


def settings(folder, port, more):
    path = f"{folder}/acceptor.cfg"
    dictionary = f"{sys.prefix}/share/quickfix/FIX44.xml"
    lines = {
        "ConnectionType": "acceptor",
        "SocketAcceptPort": port,
        "SocketAcceptHost": "127.0.0.1",
        "SocketReuseAddress": "Y",
        "SocketNodelay": "Y",
        "StartTime": "00:00:00",
        "EndTime": "00:00:00",
        "FileStorePath": f"{folder}/store",
        "FileLogPath": f"{folder}/log",
        "UseDataDictionary": "Y",
        "DataDictionary": dictionary,
        "LogoutTimeout": 1,
    } | dict(pair.split("=", 1) for pair in more)
    session = {"BeginString": "FIX.4.4", "SenderCompID": "VENUE", "TargetCompID": "FEEDPLANE"}
    text = ["[DEFAULT]"] + [f"{name}={value}" for name, value in lines.items()]
    text += ["[SESSION]"] + [f"{name}={value}" for name, value in session.items()]
    with open(path, "w") as file:
        file.write("\n".join(text) + "\n")
    return fix.SessionSettings(path)


def main():
    folder, port, *more = sys.argv[1:]
    venue, configured = Venue(), settings(folder, port, more)
    store, log = fix.FileStoreFactory(configured), fix.FileLogFactory(configured)
    acceptor = fix.SocketAcceptor(venue, store, configured, log)
    acceptor.start()
    say(event="ready")
    for line in sys.stdin:
        try:
            if line.split():
                venue.command(line.split())
        except Exception as error:  # A wrong command is the test's fault: it is to be seen there.
            say(event="failed", what=f"{line.strip()}: {error!r}")
    acceptor.stop(True)


main()
