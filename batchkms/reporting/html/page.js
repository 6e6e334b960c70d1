// Draws the plots of a report with the colors of its page, anew when those change.
(() => {
  "use strict";
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const root = document.documentElement;

  // Colors are given as names of style variables, so that light, dark and paper each have theirs.
  const colored = (value, style) => {
    if (typeof value === "string" && value.startsWith("--")) {
      return style.getPropertyValue(value).trim();
    }
    if (Array.isArray(value)) {
      return value.map((each) => colored(each, style));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([name, each]) => [name, colored(each, style)])
      );
    }
    return value;
  };

  const axis = (given, style) => ({
    gridcolor: style.getPropertyValue("--grid").trim(),
    linecolor: style.getPropertyValue("--line").trim(),
    zeroline: false,
    automargin: true,
    ...given,
  });

  const laidOut = (layout, style) => ({
    ...colored(layout, style),
    xaxis: axis(colored(layout.xaxis, style), style),
    yaxis: axis(colored(layout.yaxis, style), style),
    font: {
      family: "system-ui, sans-serif",
      size: 12,
      color: style.getPropertyValue("--text").trim(),
    },
    hoverlabel: {
      bgcolor: style.getPropertyValue("--card").trim(),
      bordercolor: style.getPropertyValue("--line").trim(),
      font: { color: style.getPropertyValue("--text").trim() },
    },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    modebar: {
      orientation: "v",
      bgcolor: "rgba(0,0,0,0)",
      color: style.getPropertyValue("--muted").trim(),
      activecolor: style.getPropertyValue("--text").trim(),
    },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
    margin: { l: 8, r: 12, t: 8, b: 8 },
    // The width of paper is not known before it is laid out, and too late then.
    ...(root.classList.contains("printing")
      ? { autosize: false, width: 640, height: 320 }
      : { autosize: true, width: undefined, height: undefined }),
  });

  const config = {
    displaylogo: false,
    responsive: true,
    displayModeBar: "hover",
    modeBarButtons: [["toImage", "resetScale2d"]],
  };

  const draw = () => {
    const style = getComputedStyle(root);
    for (const [name, plot] of Object.entries(plots)) {
      const place = document.getElementById(name);
      Plotly.react(place, colored(plot.data, style), laidOut(plot.layout, style), config);
    }
  };

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    draw();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    draw();
  });
})();
