// The cells of the list of runs that are links: a run's name, and whether it is among those shown.
(() => {
  // A cell is drawn again when its value changes; a link must follow the rest of its row, too.
  function useRow(node) {
    const [, draw] = React.useState(0);
    React.useEffect(() => {
      const changed = () => draw((times) => times + 1);
      node.addEventListener("dataChanged", changed);
      return () => node.removeEventListener("dataChanged", changed);
    }, [node]);
    return node.data;
  }

  const link = (href, children, title) =>
    React.createElement(window.dash_core_components.Link, { href, children, title });

  function RunLink({ node }) {
    const { name, address } = useRow(node);
    return link(address, name, `Details of ${name}`);
  }

  function ChooseRun({ node }) {
    const { name, chosen, choose } = useRow(node);
    const title = "Four runs are chosen already";
    if (!choose) return React.createElement("span", { title }, "☐");
    return link(choose, chosen ? "☑" : "☐", `${chosen ? "Take off" : "Choose"} ${name}`);
  }

  window.dashAgGridComponentFunctions = Object.assign({}, window.dashAgGridComponentFunctions, {
    RunLink,
    ChooseRun,
  });

  // Arrow keys move from cell to cell; Enter follows a cell's link.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches?.(".ag-cell")) {
      event.target.querySelector("a")?.click();
    }
  });
})();
