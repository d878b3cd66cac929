"""The curve of Ed25519 in plain arithmetic, after RFC 8032 §5.1: slow, and independent of ours."""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    product = D * a[0] * b[0] * a[1] * b[1]
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, P - 2, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, P - 2, P)
    return x % P, y % P


def multiply(number: int, point: Point) -> Point:
    """By extended coordinates (RFC 8032 §5.1.4): one inversion for the whole product."""
    result = (0, 1, 1, 0)
    power = (*point, 1, point[0] * point[1] % P)
    while number:
        if number & 1:
            result = _add_extended(result, power)
        power = _add_extended(power, power)
        number >>= 1
    inverse = pow(result[2], P - 2, P)
    return result[0] * inverse % P, result[1] * inverse % P


_Extended = tuple[int, int, int, int]


def _add_extended(p: _Extended, q: _Extended) -> _Extended:
    a = (p[1] - p[0]) * (q[1] - q[0])
    b = (p[1] + p[0]) * (q[1] + q[0])
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def negate(point: Point) -> Point:
    return -point[0] % P, point[1]


def x_of(y: int) -> int | None:
    """An x with (x, y) on the curve: a square root of (y*y - 1) / (d*y*y + 1)."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    root = pow(square, (P + 3) // 8, P)
    if (root * root - square) % P:
        root = root * pow(2, (P - 1) // 4, P) % P
    return root if (root * root - square) % P == 0 else None


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE_Y = 4 * pow(5, P - 2, P) % P
_X = x_of(BASE_Y)
assert _X is not None
BASE: Point = (_X if _X % 2 == 0 else P - _X, BASE_Y)


def small_order() -> list[Point]:
    """The eight points whose eightfold is zero."""
    y = 2
    while True:
        x = x_of(y)
        if x is not None:
            # The curve has 8 * ORDER points: ORDER times one has an order that divides 8.
            torsion = multiply(ORDER, (x, y))
            if multiply(4, torsion) != ZERO:
                return [multiply(number, torsion) for number in range(8)]
        y += 1


def challenge(r: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % ORDER


def equation_holds(public: Point, public_bytes: bytes, signature: bytes, message: bytes) -> bool:
    """R = S*B - k*A compared as bytes, without any policy: what OpenSSL does."""
    k = challenge(signature[:32], public_bytes, message)
    scalar = int.from_bytes(signature[32:], "little")
    right = add(multiply(scalar, BASE), negate(multiply(k, public)))
    return encode(right) == signature[:32]
