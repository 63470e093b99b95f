"""The table of layers that Jupyter shows."""

from __future__ import annotations

from html import escape

from ._types import Info


def table(info: Info) -> str:
    """Returns an HTML table of the layers with their share of the work."""
    height, width, channels = info.input
    title = (
        f"<b>{escape(info.name)}</b> {height}×{width}×{channels}, {info.classes} classes, {info.precision} on {escape(info.isa)}: "
        f"{info.macs / 1e6:,.1f} M multiply-adds, {info.parameters / 1e6:,.2f} M parameters, "
        f"{info.packed_bytes / 1e6:,.1f} MB packed weights, {info.scratch_bytes / 1e6:,.2f} MB scratch"
    )
    most = max((layer.macs for layer in info.layers), default=1) or 1
    rows = []
    for layer in info.layers:
        share = 100 * layer.macs / (info.macs or 1)
        bar = f'<div style="width:{100 * layer.macs / most:.1f}%;height:0.7em;background:#4a90d9"></div>'
        rows.append(
            f"<tr><td>{layer.number}</td><td>{escape(layer.name)}</td><td>{'×'.join(map(str, layer.output))}</td>"
            f'<td style="text-align:right">{layer.macs / 1e6:,.2f}</td>'
            f'<td style="min-width:8em" title="{share:.1f} %">{bar}</td></tr>'
        )
    head = "<tr><th>#</th><th>layer</th><th>output</th><th>M multiply-adds</th><th>share</th></tr>"
    return f"<p>{title}</p><table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
