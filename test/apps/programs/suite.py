# SPDX-License-Identifier: BSD-3-Clause
"""Runs tests of Python's own suite and writes one line for each: its name, a blank, its outcome.

    suite.py OUTPUT [-4 ADDRESS -6 ADDRESS] MODULE...

With addresses the tests' sources are read with these in place of loopback's and localhost's, so that they run between
two sockets of the host that has them."""
import importlib.abc
import importlib.machinery
import importlib.util
import re
import signal
import sys
import unittest
import warnings

# With other addresses than loopback's: the tests' certificates are for localhost, and UDP-Lite is the kernel's.
UNSUITED = re.compile(r"UDPLITE|_SSLClass|_TLSClass|TLS_|HTTPS|SSLv23")
SECONDS = 30  # for one test
ASK_FOR_NETWORK = ("socketserver",)  # and mean loopback; the others mean what is outside, and do without
OUTSIDE = re.compile(r"VSOCK|Vsock|CAN|ISOTP|J1939|RDS|QIPCRTR|Bluetooth|LinuxKernelCryptoAPI|TIPC")  # other families


class Replaced(importlib.machinery.SourceFileLoader):
    addresses = {}

    def get_code(self, fullname):
        with open(self.path, encoding="utf-8") as f:
            text = f.read()
        for old, new in self.addresses.items():
            text = re.sub(rf"(['\"]){re.escape(old)}(['\"])", rf"\g<1>{new}\g<2>", text)
            text = text.replace(f"//{old}:", f"//{new}:")
        return compile(text, self.path, "exec")


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "test" and not name.startswith("test."):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = Replaced(spec.loader.name, spec.loader.path)
        return spec


class Lines(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out, self.said = out, set()

    def line(self, test, outcome):
        name = test.id() if hasattr(test, "id") else str(test)
        if name not in self.said:
            self.said.add(name)
            print(name.replace(" ", "_"), outcome, file=self.out, flush=True)

    def startTest(self, test):
        super().startTest(test)
        print("#", test.id(), file=self.out, flush=True)
        signal.alarm(SECONDS)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)

    def wrong(self, test, err, outcome):
        self.line(test, outcome)
        print("".join("# " + l + "\n" for l in self._exc_info_to_string(err, test).splitlines()), file=self.out, end="", flush=True)

    def addSuccess(self, test):
        self.line(test, "ok")

    def addError(self, test, err):
        self.wrong(test, err, "bad")

    def addFailure(self, test, err):
        self.wrong(test, err, "bad")

    def addSkip(self, test, reason):
        self.line(test, "skipped")

    def addExpectedFailure(self, test, err):
        self.line(test, "ok")

    def addUnexpectedSuccess(self, test):
        self.line(test, "bad")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.wrong(test, err, "bad")


def each(suite):
    for t in suite:
        if isinstance(t, unittest.TestSuite):
            yield from each(t)
        elif not OUTSIDE.search(t.id()) and not (Replaced.addresses and UNSUITED.search(t.id())):
            yield t


def too_long(*args):
    raise TimeoutError("took too long")


def main():
    output, args = sys.argv[1], sys.argv[2:]
    if args[0] == "-4":
        Replaced.addresses = {"127.0.0.1": args[1], "localhost": args[1], "::1": args[3]}
        sys.meta_path.insert(0, Finder())
        args = args[4:]
    warnings.simplefilter("ignore")
    from test import support
    support.verbose = 0
    if Replaced.addresses:
        from test.support import socket_helper
        socket_helper.HOST = socket_helper.HOSTv4 = Replaced.addresses["127.0.0.1"]
        socket_helper.HOSTv6 = Replaced.addresses["::1"]
    signal.signal(signal.SIGALRM, too_long)
    with open(output, "w", encoding="utf-8", buffering=1) as out:
        # In groups, as their authors did it: class after class.
        for name in args:
            support.use_resources = ["network"] if name.endswith(ASK_FOR_NETWORK) else []
            suite = unittest.defaultTestLoader.loadTestsFromName(name)
            unittest.TestSuite(regroup(each(suite))).run(Lines(out))
        print("# end", file=out)


def regroup(tests):
    """Tests of one class are a suite, so that its set-up is run once."""
    classes = {}
    for t in tests:
        classes.setdefault(type(t), unittest.TestSuite()).addTest(t)
    return classes.values()


main()
