import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const PLANTS = [
  ["Monstera", 24, "shady", "#2f7d43"], ["Pothos", 9.5, "shady", "#5c9a3a"], ["Aloe", 12, "sunny", "#5aa082"], ["Ficus", 32, "shady", "#2b5f36"],
  ["Calathea", 18.5, "shady", "#7a4f7e"], ["Cactus", 7, "sunny", "#4f8a3d"], ["Fern", 14, "shady", "#3f8f52"], ["Orchid", 21, "sunny", "#c05a93"],
].map(([name, price, light, colour]) => ({ name, price, light, colour }));
const ORDERS = {
  Name: (a, b) => a.name.localeCompare(b.name),
  "Price, low to high": (a, b) => a.price - b.price,
  "Price, high to low": (a, b) => b.price - a.price,
};
const money = value => value.toFixed(2) + " €";

function Drawing({ colour, at }) {
  const leaves = Array.from({ length: 5 + at % 3 }, (_, n, total = 5 + at % 3) => -60 + n * 120 / (total - 1));
  return (
    <svg viewBox="0 0 200 150" aria-hidden="true">
      {leaves.map(turn => <ellipse key={turn} cx="100" cy="62" rx={10 + at % 4 * 3} ry="42" fill={colour} opacity=".85" transform={`rotate(${turn} 100 104)`} />)}
      <path d="M74 100h52l-7 40H81z" fill="#b9633a" /><rect x="70" y="96" width="60" height="10" rx="3" fill="#9d4f2b" />
    </svg>
  );
}

function Cart({ cart, change, close }) {
  const [code, setCode] = useState(""), [coupon, setCoupon] = useState(""), [wrong, setWrong] = useState(false);
  useEffect(() => {
    const escape = event => event.key === "Escape" && close();
    addEventListener("keydown", escape);
    return () => removeEventListener("keydown", escape);
  }, [close]);
  const lines = PLANTS.filter(plant => cart[plant.name]);
  const plants = lines.reduce((sum, plant) => sum + plant.price * cart[plant.name], 0) * (coupon ? 0.9 : 1);
  const shipping = plants >= 50 ? 0 : 4.9;
  const apply = event => {
    event.preventDefault();
    const valid = code.trim() === "GREEN10";
    setCoupon(valid ? code : "");
    setWrong(!valid);
  };
  return (
    <div className="shade">
      <div className="cart" role="dialog" aria-modal="true" aria-label="Your cart">
        <div className="head"><h2>Your cart</h2><button onClick={close}>Close</button></div>
        {lines.length === 0 ? <p>Your cart is empty</p> : <>
          {lines.map(plant => (
            <div className="line" key={plant.name}>
              <span>{plant.name}</span>
              <span className="count">
                <button aria-label={`Less ${plant.name}`} onClick={() => change(plant.name, -1)}>–</button>{cart[plant.name]}
                <button aria-label={`More ${plant.name}`} onClick={() => change(plant.name, 1)}>+</button>
              </span>
              <span>{money(plant.price * cart[plant.name])}</span>
            </div>
          ))}
          <form className="coupon" onSubmit={apply}>
            <label>Coupon<input value={code} onChange={event => setCode(event.target.value)} /></label><button>Apply</button>
          </form>
          {wrong && <p className="wrong" role="alert">This code is not valid</p>}
          {coupon && <div className="sum"><span>GREEN10</span><span>10 % off</span></div>}
          <div className="sum"><span>Shipping</span><span>{shipping ? money(shipping) : "free"}</span></div>
          <div className="sum total"><span>Total</span><span>{money(plants + shipping)}</span></div>
        </>}
      </div>
    </div>
  );
}

function Choice({ label, value, set, options }) {
  return <label>{label}<select value={value} onChange={event => set(event.target.value)}>{options.map(one => <option key={one}>{one}</option>)}</select></label>;
}

function Shop() {
  const [light, setLight] = useState("Any light"), [order, setOrder] = useState("Name");
  const [cart, setCart] = useState({}), [open, setOpen] = useState(false);
  const change = (name, by) => setCart(now => ({ ...now, [name]: Math.max(0, (now[name] || 0) + by) }));
  const shown = PLANTS.filter(plant => light === "Any light" || plant.light === light).sort(ORDERS[order]);
  const pieces = Object.values(cart).reduce((sum, count) => sum + count, 0);
  return <>
    <header><div className="bar"><span className="brand">Leaf &amp; Clay</span><button className="main" onClick={() => setOpen(true)}>Cart ({pieces})</button></div></header>
    <main>
      <h1>Plants for every window</h1>
      <div className="tools">
        <Choice label="Light" value={light} set={setLight} options={["Any light", "sunny", "shady"]} />
        <Choice label="Sort by" value={order} set={setOrder} options={Object.keys(ORDERS)} />
      </div>
      <div className="grid">
        {shown.map(plant => (
          <article className="card" key={plant.name}>
            <Drawing colour={plant.colour} at={PLANTS.indexOf(plant)} />
            <div>
              <h2>{plant.name}</h2>
              <span className="about"><span>{plant.light}</span><b>{money(plant.price)}</b></span>
              <button className="main" onClick={() => change(plant.name, 1)}>Add {plant.name} to cart</button>
            </div>
          </article>
        ))}
      </div>
    </main>
    {open && <Cart cart={cart} change={change} close={() => setOpen(false)} />}
  </>;
}

createRoot(document.getElementById("root")).render(<Shop />);
