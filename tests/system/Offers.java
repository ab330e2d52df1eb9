import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;

/** What Java's own client does with its defaults: it offers h2c with every request. Run as: java Offers.java HOST:PORT */
public class Offers {
    static final HttpClient CLIENT = HttpClient.newHttpClient();

    static void ask(String base, String path, BodyPublisher body) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create("http://" + base + path));
        request = body == null ? request.GET() : request.POST(body);
        var answer = CLIENT.send(request.build(), BodyHandlers.ofString());
        System.out.println(path + " " + answer.version() + " " + answer.statusCode() + " " + answer.body());
    }

    public static void main(String[] arguments) throws Exception {
        String base = arguments[0];
        for (int round = 0; round < 2; round++) {
            ask(base, "/get", null);
            ask(base, "/length", BodyPublishers.ofString("by length"));
            ask(base, "/chunked", BodyPublishers.ofInputStream(() -> new ByteArrayInputStream("in chunks".getBytes())));
            ask(base, "/empty", BodyPublishers.noBody());
        }
        var heard = new CompletableFuture<String>();
        var listener = new WebSocket.Listener() {
            @Override
            public CompletionStage<?> onText(WebSocket socket, CharSequence text, boolean last) {
                heard.complete(text.toString());
                return null;
            }
        };
        var socket = CLIENT.newWebSocketBuilder().buildAsync(URI.create("ws://" + base + "/live"), listener).join();
        socket.request(1);
        socket.sendText("over a socket", true).join();
        System.out.println("/live " + heard.get(10, TimeUnit.SECONDS));
        System.exit(0);
    }
}
