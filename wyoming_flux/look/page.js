"use strict";
const audio = document.querySelector("audio");
const chart = document.querySelector("svg[data-seconds]");
if (audio && chart) {
  const head = chart.querySelector(".head");
  const left = Number(chart.dataset.left), scale = Number(chart.dataset.scale);
  const words = [...document.querySelectorAll(".words button")];
  const play = (at) => { audio.currentTime = Math.max(0, at); audio.play(); };
  const draw = () => {
    const x = left + audio.currentTime * scale;
    head.setAttribute("x1", x); head.setAttribute("x2", x); head.style.visibility = "visible";
    for (const word of words)
      word.classList.toggle("now", audio.currentTime >= word.dataset.start && audio.currentTime < word.dataset.end);
    if (!audio.paused) requestAnimationFrame(draw);
  };
  for (const name of ["play", "seeked", "timeupdate"]) audio.addEventListener(name, draw);
  for (const word of words) word.addEventListener("click", () => play(Number(word.dataset.start)));
  chart.addEventListener("click", (event) => {
    const box = chart.getBoundingClientRect();
    play(((event.clientX - box.left) / box.width * chart.viewBox.baseVal.width - left) / scale);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("audio, summary, button, a")) return;
    if (event.key === " ") { audio.paused ? audio.play() : audio.pause(); }
    else if (event.key === "ArrowLeft") audio.currentTime = Math.max(0, audio.currentTime - 0.25);
    else if (event.key === "ArrowRight") audio.currentTime += 0.25;
    else return;
    event.preventDefault();
  });
}
