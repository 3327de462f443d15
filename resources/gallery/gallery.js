(function () {
  "use strict";
  document.documentElement.classList.add("js");
  document.querySelectorAll("section.run").forEach(function (run) {
    var links = Array.from(run.querySelectorAll(".strip a"));
    function show(link) {
      run.querySelectorAll(".card.shown").forEach(function (card) {
        card.classList.remove("shown");
      });
      links.forEach(function (each) {
        each.removeAttribute("aria-current");
      });
      var card = document.getElementById(link.hash.slice(1));
      if (card) card.classList.add("shown");
      link.setAttribute("aria-current", "true");
    }
    links.forEach(function (link, index) {
      link.addEventListener("click", function (event) {
        event.preventDefault();
        show(link);
        history.replaceState(null, "", link.hash);
      });
      link.addEventListener("keydown", function (event) {
        var step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        var next = step && links[index + step];
        if (!next) return;
        event.preventDefault();
        next.focus();
        show(next);
      });
    });
    var asked = links.filter(function (link) {
      return link.hash === location.hash;
    })[0];
    if (links.length) show(asked || links[0]);
  });
})();
