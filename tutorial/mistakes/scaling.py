"""The known mistakes of stage 0, whose kernel scales a matrix, in the form of `reference.mistake`.

Order matters where two of them answer alike: the earlier one is named. The flag "tiles" says that
it takes tiles to make the mistake: how wide they are is tried.
"""

from __future__ import annotations

from ..reference.mistake import read

SCALING = read(
    """
== not scaled
x comes back as it was: multiply each tile by scale before it is stored.
    y_tile = x_tile
== scale added
scale is added to x; it must be multiplied.
    y_tile = x_tile + scale
== scale subtracted
scale is subtracted from x; it must be multiplied.
    y_tile = x_tile - scale
== divided by scale
x is divided by scale; it must be multiplied.
    y_tile = x_tile / scale
== scale twice
scale is applied twice.
    y_tile = scale * scale * x_tile
== sign
The sign is wrong.
    y_tile = -scale * x_tile
== exp
The output is exp(scale * x): use nl.copy or a multiplication, not nl.exp.
    y_tile = exp(scale * x_tile)
== scale only
The output is scale everywhere: x is not in it.
    y_tile = full(x_tile.shape, scale)
== all zero
The output is 0 everywhere: store the product, and not the tile that it should be written to.
    y_tile = zeros(x_tile.shape)
== x squared
The output is scale * x * x: x is multiplied twice, where once is right.
    y_tile = scale * x_tile * x_tile
== squared
The output is the square of scale * x.
    y_tile = square(scale * x_tile)
== x times x
The output is x * x: the second factor must be scale.
    y_tile = x_tile * x_tile
== absolute value
The output is the absolute value of scale * x: the sign must stay.
    y_tile = abs(scale * x_tile)
== absolute value
The output is scale times the absolute value of x: the sign must stay.
    y_tile = scale * abs(x_tile)
== negative values lost
Negative values come out as 0: no activation function belongs here.
    y_tile = maximum(scale * x_tile, 0)
== negative values lost
Negative values of x come out as 0: no activation function belongs here.
    y_tile = scale * maximum(x_tile, 0)
== scale as an integer
scale is cut to an integer, int(scale): multiply by scale as it is.
    y_tile = int(scale) * x_tile
== scale as an integer
scale is rounded to an integer: multiply by scale as it is.
    y_tile = round(scale) * x_tile
== scale as an integer
scale is rounded down to an integer: multiply by scale as it is.
    y_tile = floor(scale) * x_tile
== scale as an integer
scale is rounded up to an integer: multiply by scale as it is.
    y_tile = ceil(scale) * x_tile
== absolute value
x is multiplied by the absolute value of scale: the sign must stay.
    y_tile = abs(scale) * x_tile
== x added
x is added to scale * x: the output is the product alone.
    y_tile = scale * x_tile + x_tile
== x subtracted
x is subtracted from scale * x: the output is the product alone.
    y_tile = scale * x_tile - x_tile
== scale added too
scale is added to scale * x: it must be multiplied only.
    y_tile = scale * x_tile + scale
== scale subtracted too
scale is subtracted from scale * x: it must be multiplied only.
    y_tile = scale * x_tile - scale
== low precision
Values pass through bf16, which keeps 8 significant bits: the tiles of this stage are float32, as x
and y are.
    y_tile = bf16(scale * x_tile)
    y_tile = scale * bf16(x_tile)
    y_tile = bf16(scale * bf16(x_tile))
== first tile everywhere [tiles]
Every tile holds the first tile's values: load at the tile's own columns.
    x_tile = x[:, tiles[0]]
== last tile everywhere [tiles]
Every tile holds the last tile's values: load at the tile's own columns.
    x_tile = x[:, tiles[-1]]
== tiles reversed [tiles]
The tiles are stored in reverse order.
    x_tile = x[:, tiles[-1 - t]]
== tiles shifted [tiles]
Every tile holds the values of the tile before it.
    x_tile = x[:, tiles[max(t - 1, 0)]]
== tiles shifted [tiles]
Every tile holds the values of the tile after it.
    x_tile = x[:, tiles[min(t + 1, len(tiles) - 1)]]
== tiles transposed [tiles]
Every tile of {width} rows and {width} columns is transposed: an elementwise instruction keeps rows
on their partitions, so leave the transpose out.
    y_tile = transposed(scale * x_tile)
"""
)
