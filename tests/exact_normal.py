"""The standard normal distribution in decimal arithmetic, in as many digits as the context has."""

from decimal import Decimal

PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534"
)


def density(x: Decimal) -> Decimal:
    return (-x * x / 2).exp() / (2 * PI).sqrt()


def cdf(x: Decimal) -> Decimal:
    if x > 4:
        return 1 - cdf(-x)
    if x < -4:
        # Laplace's continued fraction, 1 / (t + 1 / (t + 2 / (t + ...))), from its far end.
        t = fraction = -x
        for n in range(200, 0, -1):
            fraction = t + n / fraction
        return density(x) / fraction
    # x + x³ / 3 + x⁵ / (3 · 5) + ...
    term = total = x
    for n in range(3, 250, 2):
        term *= x * x / n
        total += term
    return Decimal("0.5") + density(x) * total
